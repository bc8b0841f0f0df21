"""The same verbs over shards: a supervised process a worker, local or on the machines of a cluster."""
