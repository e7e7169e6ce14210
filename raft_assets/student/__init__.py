"""The student: fine-tuning jobs, deployments on Azure OpenAI and Azure ML, licences and approval.

Scoring the student is `evaluation`'s.
"""
