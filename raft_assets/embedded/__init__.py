"""The embedded provider: rules as teacher, a sentence encoder and an extractive reader, behind the OpenAI API.

It imports nothing but `core`, and other rooms import nothing but `provider`.
"""
