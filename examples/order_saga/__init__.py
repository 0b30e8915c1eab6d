"""orders over three services, undone in reverse order where one refuses; no cent is lost

Payment, stock and shipping each keep a ledger in an SQLite file and use `dist_task.barrier`. A flow takes an order
through them: large orders wait for an approval, dear ones travel by express, and what was done is undone when a later
step fails. There is a good order, one by express, one that shipping refuses, one whose payment is carried out while its
answers are lost, and two large ones, approved and rejected. At the end the ledgers are compared with the orders.
"""
