"""The jobs of a study: what they are, where they run, and where their results are written.

`jobs` plans them, `scheduler` runs them in order, `processes` starts a `worker` for each (`ray_tasks` a task of Ray),
`store` writes and reads results in the `formats` of files, and `job_table` records what each job took.
"""
