"""What is measured: a table of cases, each a request and what it may cost."""

from dataclasses import dataclass

BROWSER = (
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-GB,en;q=0.7",
    "Accept-Encoding: gzip, deflate",
    "Cookie: session=31d4d96e407aad42; theme=dark",
    "Referer: http://localhost/start",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "X-Request-Id: 5f0c6a1e9b",
)


@dataclass(frozen=True)
class Case:
    """A handler or function, and the request that reaches it.

    `target` is the most it may cost: for a handler, as a part of the peer's user CPU over static; for a function, as a
    multiple of all that `return 200` costs. What is asked for in `suffix` and `headers` is asked of the static
    location too, so that nginx's own work on them is not counted.
    """

    name: str
    about: str
    path: str
    suffix: str = ""
    headers: tuple[str, ...] = ()
    target: float | None = None
    function: bool = False
    body: str | None = None

    @property
    def url(self) -> str:
        return self.path + self.suffix

    @property
    def static(self) -> "Case":
        return Case("static", "return 200", "/static", self.suffix, self.headers, body="hello world\n")


def handler(name, about, **rest):
    return Case(name, about, "/" + name, **rest)


def function(name, about, path, **rest):
    return Case(name, about, path, function=True, **rest)


CASES = (
    handler("hello", "one ngx.say", target=0.25, body="hello world\n"),
    handler("say50", "50 ngx.say of three strings", target=0.1, body="one two three\n" * 50),
    handler("vars", "25 reads of ngx.var, one header set", target=0.5),
    handler(
        "headers",
        "all request headers, URI args, 2 headers set",
        suffix="?q=lua+nginx&page=2&sort=date&lang=en",
        headers=BROWSER,
        target=0.6,
    ),
    handler("json", "cjson decode and encode of 400 bytes", target=0.5),
    handler("capture", "ngx.location.capture of a static answer", target=0.65, body="200 hello world\n"),
    handler("sleep", "5 ngx.sleep(0)", target=0.4),
    handler("shared", "ngx.shared: 5 set, 5 get, 1 incr", target=0.6),
    handler("regex", "10 ngx.re.match with jo", target=0.6),
    handler("gsub", "5 ngx.re.gsub of three matches by a function, with jo", target=0.6),
    handler("threads", "5 light threads that sleep once", target=0.5),
    handler("timers", "100 ngx.timer.at(0), until they have run", target=0.6),
    function("gateway", "a function that returns a string", "/hello", target=1.15, body='{"data":"hello"}\n'),
    function(
        "route",
        "one with a route parameter and a query",
        "/users",
        suffix="/42?greeting=Hi",
        target=1.25,
        body='{"data":"Hi, user 42"}\n',
    ),
)

# The paths of handlers that --soak asks for in turn.
SOAK = ("hello", "capture", "json")

# How much larger, in KiB, a worker may be with the module and a project than without.
MEMORY_TARGET = 6 * 1024
