from trio_voice.core.deadlines import Deadlines, Timer
from trio_voice.core.jobs import Jobs


def test_jobs_run_until_they_end() -> None:
    jobs = Jobs(Deadlines())
    jobs.started(1, 60.0, 5.0)
    jobs.started(2, 10.0, 5.0)
    assert (jobs.running, jobs.deadlines.at(Timer.JOB)) == (True, 16.0)
    assert jobs.ended(2)
    assert (jobs.running, jobs.deadlines.at(Timer.JOB)) == (True, 66.0)
    assert [jobs.ended(2), jobs.ended(1)] == [False, True]
    assert (jobs.running, jobs.deadlines.at(Timer.JOB)) == (False, None)


def test_a_job_whose_end_is_not_reported_is_over_after_its_limit() -> None:
    jobs = Jobs(Deadlines())
    jobs.started(1, 10.0, 0.0)
    jobs.started(2, 20.0, 0.0)
    jobs.give_up(11.0)
    assert (jobs.running, jobs.deadlines.at(Timer.JOB)) == (True, 21.0)
    jobs.give_up(21.0)
    assert not jobs.running
