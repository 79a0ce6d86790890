"""Measures of reaches, as functions of arrays.

`reach` measures one recorded reach, `series` the reaches of a learner through a protocol, `correction` what happens
within a reach after a perturbation sets in, `channel` the force against the wall of a force channel, and `memory` what
stays of a correction. None of them knows a learner, a protocol or a table.
"""
