"""What another policy would have done: logged or labelled turns decided again, priced, counted and tuned.

`case` holds what is replayed, `again` decides it, `reference` decides it without a policy, `ledger` prices and counts,
`comparison` lays policies side by side, `tune` searches losses, `savings` says what was spared. Nothing here runs a
model or reads a store: cases come from the sources that `sources` finds.
"""
