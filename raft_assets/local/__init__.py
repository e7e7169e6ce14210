"""The local provider: open language models on hardware of one's own, served and fine-tuned behind the OpenAI API.

It imports nothing but `core` and `provider`, and other rooms import nothing but `local.provider`. torch is never
imported here: what computes is in `worker`, which runs in an interpreter of its own, and in the engines.
"""
