"""Measures of reaches, as functions of arrays.

`reach` measures one recorded reach, and the force against the wall of a force channel. `series` measures the reaches of
a learner through a protocol: adaptation, savings, retention, interference. `correction` measures the correction within
a reach after the onset of a perturbation. The measures do not depend on learners, protocols or tables.
"""
