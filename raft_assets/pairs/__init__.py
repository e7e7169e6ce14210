"""Question pairs about chunks: prompts, generation, gates, the judge of pairs, reviews, and imported pairs."""
