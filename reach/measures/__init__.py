"""Measures of reaches, as functions of arrays.

`reach` measures one recorded reach: its launch, its force against the wall of a force channel, and the correction after
the onset of a perturbation. `series` measures the reaches of a learner through a protocol: adaptation, savings,
retention, interference. The measures do not depend on learners, protocols or tables.
"""
