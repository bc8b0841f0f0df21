"""The same verbs over shards, by supervised processes here or on a cluster."""
