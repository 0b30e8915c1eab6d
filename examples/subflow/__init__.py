"""an order whose parcels are transactions of their own: repaired, undone and cancelled with it

A flow takes payment, ships each parcel by another flow (`subflow` in a `foreach`), and writes the invoice. There are
three orders. Of one the carrier refuses a parcel: its transaction is repaired, and the order goes on by itself. Of one
the invoice is refused at the end: all that its parcels did is undone as well. And one is cancelled while parcels wait
for the van, and undone afterwards. At the end the company's journal is compared with what each order should have left.
"""
