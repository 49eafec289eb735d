"""Circuit breakers: what opens them, for how long, and what is seen of them."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from modelrouter import (
    APIConnectionError,
    AuthenticationError,
    BackendTimeoutError,
    BadRequestError,
    ConfigurationError,
    LocalModelError,
    LowConfidenceError,
    MalformedResponseError,
    QueueFullError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
)
from modelrouter.guards import Admitted, BreakerPolicy, Breakers, Refusal, Settlement
from modelrouter.testing import example_card
from tests.guards.intents import HOSTED, LOCAL, Clock, answered, intent

POLICY = BreakerPolicy(failures=3, cooldown_s=10, max_cooldown_s=35, rate_limit_s=2)
DOWN = ServerError("down", status=503)


@pytest.fixture
def clock() -> Clock:
    return Clock(1_000.0)


@pytest.fixture
def breakers(clock) -> Breakers:
    return Breakers(POLICY, clock=clock)


def begin(breakers: Breakers, card=HOSTED):
    asked = intent(card=card)
    admitted = breakers.admit(asked)
    return (asked, admitted.ticket) if isinstance(admitted, Admitted) else admitted


def attempt(breakers: Breakers, error=None, card=HOSTED, *, duration_s: float = 2.0) -> bool:
    """Whether it was let through; if so, it ends with the error, or answered."""
    begun = begin(breakers, card)
    if isinstance(begun, Refusal):
        return False
    done = Settlement(error=error, duration_s=duration_s) if error else answered()
    breakers.settle(*begun, done)
    return True


def wait_s(breakers: Breakers, card=HOSTED) -> float:
    return breakers.health([card])[0].next_try_s


@pytest.mark.parametrize(
    "error",
    [
        DOWN,
        APIConnectionError("reset"),
        BackendTimeoutError("nothing came"),
        MalformedResponseError("not JSON"),
        StreamInterruptedError("cut", partial_text="so f"),
        AuthenticationError("not for this text", status=403),
        LocalModelError("llama_decode failed"),
    ],
)
def test_failures_in_a_row_open_it(breakers, clock, error):
    assert [attempt(breakers, error) for _ in range(5)] == [True, True, True, False, False]
    (health,) = breakers.health([HOSTED])
    assert (health.state, health.failures, health.next_try_s) == ("open", 3, 10.0)
    assert health.last_error.startswith(type(error).__name__)


@pytest.mark.parametrize(
    "error",
    [
        BadRequestError("no", status=400),
        LowConfidenceError("unsure", partial_text="", confidence=0.1),
        QueueFullError("full", waiting=9),
    ],
)
def test_errors_that_say_nothing_of_the_deployment_do_not_count(breakers, error):
    assert all(attempt(breakers, error) for _ in range(20))
    assert breakers.health([HOSTED])[0].state == "closed"


def test_an_answer_between_failures_starts_the_count_again(breakers):
    for error in (DOWN, DOWN, None, DOWN, DOWN, None):
        assert attempt(breakers, error)
    assert breakers.health([HOSTED])[0].state == "closed"


def test_a_timeout_of_a_caller_in_a_hurry_does_not_count(breakers):
    hurried = BackendTimeoutError("only 0.2 s were left")
    assert all(attempt(breakers, hurried, duration_s=0.2) for _ in range(10))
    assert [attempt(breakers, hurried, duration_s=3.0) for _ in range(4)][-1] is False


def test_cancelled_and_unasked_attempts_do_not_count(breakers):
    for settlement in [Settlement(cancelled=True), Settlement(asked=False)] * 5:
        breakers.settle(*begin(breakers), settlement)
    assert breakers.health([HOSTED])[0].state == "closed"


def test_retry_after_is_waited_for_exactly_and_then_it_is_used_as_before(breakers, clock):
    assert attempt(breakers, RateLimitError("slow down", status=429, retry_after=7.5))
    (health,) = breakers.health([HOSTED])
    assert (health.state, health.next_try_s) == ("rate_limited", 7.5)
    clock.now += 7.4999
    refused = begin(breakers)
    assert refused.retry_in_s == pytest.approx(0.0001, abs=1e-6)
    clock.now = 1_007.5
    assert not any(isinstance(begin(breakers), Refusal) for _ in range(5))  # no probing


def test_a_429_without_retry_after_doubles_and_an_answer_resets_it(breakers, clock):
    waits = []
    for _ in range(4):
        assert attempt(breakers, RateLimitError("slow down", status=429))
        waits.append(wait_s(breakers))
        clock.now += waits[-1]
    assert waits == [2.0, 4.0, 8.0, 16.0]
    assert attempt(breakers)
    assert attempt(breakers, RateLimitError("slow down", status=429))
    assert wait_s(breakers) == 2.0


def test_many_429s_at_once_count_as_one(breakers):
    under_way = [begin(breakers) for _ in range(50)]
    for asked, ticket in under_way:
        breakers.settle(asked, ticket, Settlement(error=RateLimitError("no", status=429)))
    assert wait_s(breakers) == 2.0


def test_many_failures_at_once_open_it_once(breakers, clock):
    under_way = [begin(breakers) for _ in range(50)]
    for asked, ticket in under_way:
        breakers.settle(asked, ticket, Settlement(error=DOWN))
    assert wait_s(breakers) == 10.0


def test_after_the_cooldown_one_probe_at_a_time_goes_through(breakers, clock):
    for _ in range(3):
        attempt(breakers, DOWN)
    clock.now += 10
    probe = begin(breakers)
    assert not isinstance(probe, Refusal)
    others = [begin(breakers) for _ in range(3)]
    assert all(isinstance(other, Refusal) for other in others)
    assert "is being probed" in others[0].reason.text
    breakers.settle(*probe, answered())
    assert breakers.health([HOSTED])[0].state == "closed"
    assert not any(isinstance(begin(breakers), Refusal) for _ in range(5))


def test_each_failed_probe_doubles_the_cooldown_up_to_the_longest(breakers, clock):
    for _ in range(3):
        attempt(breakers, DOWN)
    waits = []
    for _ in range(4):
        waits.append(wait_s(breakers))
        clock.now += waits[-1]
        assert attempt(breakers, DOWN)
    assert waits == [10.0, 20.0, 35.0, 35.0]


def test_a_probe_that_is_cancelled_leaves_its_place_to_the_next(breakers, clock):
    for _ in range(3):
        attempt(breakers, DOWN)
    clock.now += 10
    breakers.settle(*begin(breakers), Settlement(cancelled=True))
    assert attempt(breakers)


def test_a_probe_that_never_comes_back_is_given_up(breakers, clock):
    for _ in range(3):
        attempt(breakers, DOWN)
    clock.now += 10
    lost = begin(breakers)
    clock.now += POLICY.probe_s
    second = begin(breakers)
    assert not isinstance(second, Refusal)
    breakers.settle(*lost, Settlement(error=DOWN))  # too late to say anything
    assert breakers.health([HOSTED])[0].state == "half_open"
    breakers.settle(*second, answered())
    assert breakers.health([HOSTED])[0].state == "closed"


def test_a_refused_key_opens_at_once_and_a_new_key_is_a_new_deployment(breakers, monkeypatch):
    monkeypatch.setenv("ACME_KEY", "old")
    card = example_card(api_key_env="ACME_KEY")
    assert attempt(breakers, AuthenticationError("no", status=401), card)
    assert not attempt(breakers, card=card)
    assert wait_s(breakers, card) == 300.0
    monkeypatch.setenv("ACME_KEY", "new")
    assert attempt(breakers, card=card)
    keyed = example_card(api_key="a")
    attempt(breakers, AuthenticationError("no", status=401), keyed)
    assert not attempt(breakers, card=keyed)
    assert attempt(breakers, card=example_card(api_key="b"))


def test_deployments_of_one_model_fail_apart(breakers):
    east, west = (example_card(api_base=f"http://{place}.invalid") for place in ("east", "west"))
    for _ in range(3):
        attempt(breakers, DOWN, east)
    assert not attempt(breakers, card=east)
    assert attempt(breakers, card=west)


def test_a_local_model_that_fails_again_and_again_is_left_alone_too(breakers):
    for _ in range(3):
        assert attempt(breakers, LocalModelError("out of memory"), LOCAL)
    assert not attempt(breakers, card=LOCAL)


def test_health_says_how_long_answers_took(breakers):
    assert breakers.health([HOSTED])[0].p50_s is None
    for tenths in range(1, 21):
        breakers.settle(*begin(breakers), answered(duration_s=tenths / 10, first_token_s=0.1))
    (health,) = breakers.health([HOSTED])
    assert (health.answered, health.p50_s, health.p95_s) == (20, 1.0, 1.9)
    assert breakers.latency_s(HOSTED, 0.95, first_token=True) == 0.1
    assert health.model_dump()["state"] == "closed"


def test_what_is_said_of_a_failure_holds_nothing_of_the_task(breakers):
    for _ in range(3):
        attempt(breakers, ServerError("could not do: 'my secret diary'", status=500))
    (health,) = breakers.health([HOSTED])
    assert health.last_error == "ServerError (500)"
    assert "secret" not in str(breakers.cooling(HOSTED))
    assert str(breakers.cooling(HOSTED)) == (
        "failed 3 times in a row, last with ServerError (500); the next try is in 10.0 s"
    )


def test_switched_off_it_refuses_nothing_and_still_keeps_figures(clock):
    off = Breakers(None, clock=clock)
    assert all(attempt(off, DOWN) for _ in range(10))
    assert off.health([HOSTED])[0].last_error == "ServerError (503)"
    assert off.cooling(HOSTED) is None
    assert off.all_well


def test_a_policy_that_makes_no_sense_is_refused():
    with pytest.raises(ConfigurationError, match="failures"):
        BreakerPolicy(failures=0)
    with pytest.raises(ConfigurationError, match="cooldown_s"):
        BreakerPolicy(cooldown_s=-1)


class Deployment(RuleBasedStateMachine):
    """Attempts begin and end in any order while time goes by."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock(0.0)
        self.breakers = Breakers(POLICY, clock=self.clock)
        self.under_way: list = []
        self.not_before = 0.0

    @rule()
    def begins(self):
        state = self.breakers.health([HOSTED])[0].state
        begun = begin(self.breakers)
        if isinstance(begun, Refusal):
            assert begun.retry_in_s is not None
            assert begun.retry_in_s > 0
            return
        assert self.clock.now >= self.not_before
        self.under_way.append(begun)
        if state == "half_open":  # one probe at a time
            assert isinstance(begin(self.breakers), Refusal)

    @rule(which=st.integers(0, 9), end=st.sampled_from(["works", "fails", "429", "busy", "left"]))
    def ends(self, which, end):
        if not self.under_way:
            return
        begun = self.under_way.pop(which % len(self.under_way))
        settlement = {
            "works": answered(),
            "fails": Settlement(error=DOWN),
            "429": Settlement(error=RateLimitError("no", status=429, retry_after=6.0)),
            "busy": Settlement(error=RateLimitError("no", status=429)),
            "left": Settlement(cancelled=True),
        }[end]
        self.breakers.settle(*begun, settlement)
        if end == "429":
            self.not_before = max(self.not_before, self.clock.now + 6.0)

    @rule(seconds=st.sampled_from([0.5, 2.0, 10.0, 40.0]))
    def time_goes_by(self, seconds):
        self.clock.now += seconds

    @invariant()
    def it_never_waits_for_ever(self):
        longest = max(POLICY.max_cooldown_s, POLICY.max_rate_limit_s, POLICY.probe_s)
        assert 0.0 <= wait_s(self.breakers) <= longest

    @invariant()
    def what_is_said_agrees_with_what_is_done(self):
        (health,) = self.breakers.health([HOSTED])
        assert (self.breakers.cooling(HOSTED) is not None) == (health.next_try_s > 0)
        if health.state == "closed":
            assert health.next_try_s == 0
            assert health.failures < POLICY.failures


TestAnyOrder = Deployment.TestCase
TestAnyOrder.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
