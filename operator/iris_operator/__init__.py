"""The Kubernetes operator's package. It never imports `iris_service`; what both must agree on travels through Redis."""
