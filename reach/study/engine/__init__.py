"""The engine of a study: plans jobs, runs them and stores their results.

`jobs` defines and plans jobs and keeps their table, `scheduler` runs them in order and starts a `worker` for each job
(`ray_tasks` a Ray task), and `store` writes and reads results in the file formats of `formats`.
"""
