"""Reading twins' records: searches, versions, histories across patients, cohorts. Each twin opened is decided first."""
