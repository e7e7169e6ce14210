"""Whether an endpoint takes requests at all, as the outcomes of its calls show.

What one error means is read from its words in `service_errors`; here is what no words say: whether a request was
refused for itself, or all of them are.
"""

import itertools

# refused one after another, by a service that doesn't say why: no longer a matter of single requests
MAX_REFUSED_IN_A_ROW = 16
MAX_REFUSED_AT_FIRST = 64  # each for a reason of its own, before anything was answered: nothing fits the model


class Evidence:
    """What the calls of one Caller show. `doubt` is a sentence for people, if something was refused unexplained.

    Refusals come faster than answers: of many calls at once, the first outcomes may all be refusals. A row of them is
    therefore counted by the start of the calls, and a call that is still under way interrupts it.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._refused, self._skipped = set[int](), set[int]()
        self.is_proven = False  # something was answered, now or in an earlier run
        self.doubt = ""

    def start(self) -> int:
        """Return the number of a call that starts."""
        return next(self._numbers)

    def record_answer(self) -> None:
        """Record that a request was taken."""
        self.is_proven = True
        self._refused.clear()
        self._skipped.clear()

    def record_repeat(self, number: int) -> None:
        """Record a call that is repeated in parts, which will tell what the refusal of all of it doesn't."""
        self._skipped.add(number)

    def record_refusal(self, number: int, sentence: str) -> bool:
        """Record that a request was refused; return whether the endpoint takes none.

        `sentence` is about the endpoint, and empty where the service explained what is wrong with this request.
        """
        self._refused.add(number)
        self.doubt = sentence or self.doubt
        if not sentence and self.is_proven:
            return False
        return self._count_around(number) >= (MAX_REFUSED_IN_A_ROW if sentence else MAX_REFUSED_AT_FIRST)

    def _count_around(self, number: int) -> int:
        """Count the calls in a row that were refused, this one among them."""
        known = self._refused | self._skipped
        before = itertools.takewhile(known.__contains__, itertools.count(number, -1))
        after = itertools.takewhile(known.__contains__, itertools.count(number + 1))
        return sum(number in self._refused for number in itertools.chain(before, after))
