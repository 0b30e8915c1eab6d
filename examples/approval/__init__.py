"""expenses that a supervisor has to approve above an amount; nobody is paid before

Accounting pays what the flow asks it to. Small expenses are paid at once. Larger ones wait for somebody of the role
`supervisor`: the flow shows what it is about, an operator who tries to approve is refused, one expense is approved,
one is rejected, and of one nobody says anything until it is too late. At the end accounting is compared with them.
"""
