"""a price update of 1,000 articles, some at a time, while a worker is killed; none is lost, none raised twice

One task with `foreach` raises the price of each article at a shop, never more than `max_parallel` at once; the next one
publishes the list of all new prices, in the order of the articles. The shop answers some calls with 503, once, and
refuses a few articles that somebody has locked: the transaction fails for these, they are unlocked, and an operator
retries it. Meanwhile a worker is killed with -9. At the end the shop's own ledger is compared with what was asked.
"""
