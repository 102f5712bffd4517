"""Container registries: their protocol, who may ask them, and what the manifests of models in them mean."""
