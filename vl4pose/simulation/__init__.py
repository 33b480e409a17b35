"""Simulated annotation: does a strategy save labels on a dataset whose labels are known?"""
