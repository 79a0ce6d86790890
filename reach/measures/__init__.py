"""Measures of reaches, as functions of arrays.

`reach` measures one recorded reach, and the force against the wall of a force channel; `series` measures the reaches of
a learner through a protocol, and what stays of a correction; `correction` measures what happens within a reach after a
perturbation sets in. None of them knows a learner, a protocol or a table.
"""
