"""What holds for every test: no network for models, a fixed number of threads, and the hypothesis profiles.

Profiles: `dev` here, `ci` where CI is set (the same examples every time), `deep` by HYPOTHESIS_PROFILE=deep.
"""

import os

import hypothesis

# Before anything imports torch, numpy or transformers, which read these once. Processes that tests start
# inherit them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["FORKLEDGER_TORCH_THREADS"] = "1"
for _threads in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_threads] = "1"  # two that wait for each other on a busy machine are slower than one

# No deadline: the machines that run this are shared, and a slow example is not a wrong one.
hypothesis.settings.register_profile("dev", max_examples=50, deadline=None)
hypothesis.settings.register_profile("ci", max_examples=50, deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("deep", max_examples=2000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))
