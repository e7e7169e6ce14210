"""From an empty subscription to models: what may be chosen, and what azd and Azure's management plane say and are told.

Asking a model, training and deploying a student are `llm`'s and `student`'s.
"""
