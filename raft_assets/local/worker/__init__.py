"""The worker of local models: training and serving in an interpreter of its own, which has torch.

`train.py` and `serve.py` are started by their path, in an environment that has the packages of `requirements.txt` and
nothing of the product. So a module of this folder imports its siblings and those packages only, and the folder alone
can be copied into a container, a Kubernetes job or a Slurm share. Job folder and HTTP endpoints are the interface.
"""
