"""vl4pose as other libraries know such things; each module needs its library, and torch or not.

- :mod:`vl4pose.adapters.scikit_activeml`: a query strategy;
- :mod:`vl4pose.adapters.pytorch_ood`: an out-of-distribution detector;
- :mod:`vl4pose.adapters.fiftyone`: fields of samples.
"""
