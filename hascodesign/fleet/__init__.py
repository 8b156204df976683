"""Many chips: a schedule for each, on a cluster, in a store that can be queried."""
