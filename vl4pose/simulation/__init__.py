"""Simulated annotation: which strategy saves labels on a dataset that has them all.

``vl4pose simulate`` is the command line of it. In Python, a configuration is read by
`vl4pose.simulation.config.read_config`, everything is done by
`vl4pose.simulation.simulate.simulate`, and what came out of it is read by
`vl4pose.simulation.records.read_records`. Needs ``vl4pose[cli]``.
"""
