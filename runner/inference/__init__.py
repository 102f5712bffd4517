"""What a request means: names to models, options merged, events to answers. One meaning for all dialects."""
