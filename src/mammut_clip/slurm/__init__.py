"""From a cluster's profile to a running job: submission by submitit, the queue, the supervisor inside."""
