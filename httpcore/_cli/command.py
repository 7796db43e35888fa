"""The options of the command, by click.

Owns: their names, their help, and which exclude each other. Must not know: what is done with them;
`options` says what their texts mean, `run` does it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, NoReturn

import click

import httpcore

from .exits import Exit, Problem
from .forms import Items, json_body, multipart, read_items, url_encoded
from .options import (
    ALWAYS,
    AUTO,
    FORM,
    FROM_SIZE,
    NEVER,
    STDIN,
    STDOUT,
    Body,
    Options,
    file_name,
    read_auth,
    read_cookies,
    read_data,
    read_headers,
    read_json,
    read_proxy,
    read_resolve,
    read_url,
    to_bytes,
    usage,
)

if TYPE_CHECKING:
    from .cookies import Cookies

# What click has read, each value of its own type, by the names of the parameters.
Values = dict[str, Any]

_SECONDS = click.FloatRange(min=0, min_open=True)

SHORT = """\
Send HTTP requests and write the bodies of the responses to standard output.

Everything else goes to standard error. Without a scheme, URL is http; ":8080/path" is on this
machine. On a terminal the body is decoded, indented and coloured; to a pipe or a file it goes byte
for byte. Several URLs are fetched at the same time.

ITEMs make a JSON body (name=text, name:=json, name=@file), a query (name==text) or header fields
(Name:text).
"""

EPILOG = """\
Examples:

\b
  httpcore :8000/users name=Ann age:=30        POST JSON
  httpcore -F text=hi -F photo=@me.jpg URL     POST a form with a file
  httpcore -L -C - -O URL                      download, or the rest of it
  httpcore -so out.html -w '%{http_code}' URL  for scripts
  httpcore --timing URL                        where the time goes

Exit codes are curl's: 0 ok, 2 usage, 6 look-up, 7 connect, 22 status (--fail), 23 write,
28 timeout, 35 and 60 TLS, 97 proxy, 130 Ctrl-C. All of them: docs/cli.rst.
"""


def _option(spelled: str, help: str, **more: Any) -> click.Option:
    """Return an option as the help spells it: ``-H, --header LINE...`` takes values, and several;
    one without a word in capitals takes none."""
    *names, last = re.split(r",? ", spelled)
    if last.startswith("-"):
        return click.Option([*names, last], is_flag=True, help=help, **more)
    several = last.endswith("...")
    metavar = last.removesuffix("...")
    return click.Option(names, metavar=metavar, multiple=several, help=help, **more)


def _show_version(context: click.Context, option: click.Parameter, asked: bool) -> None:
    if asked:
        click.echo(f"httpcore {httpcore.__version__}")
        context.exit()


def _check_offset(context: click.Context, option: click.Parameter, text: str | None) -> str | None:
    if text is None or text == FROM_SIZE or (text.isascii() and text.isdigit()):
        return text
    raise click.BadParameter("neither - nor a number of bytes", context, option)


REQUEST = [
    _option("-X, --method, --request METHOD", "Default: GET; with a body POST."),
    _option(
        "-H, --header LINE...",
        "'Name: value', 'Name;' for an empty value, 'Name:' to leave one out. Repeatable.",
    ),
    _option(
        "-d, --data DATA...",
        "A body: text, @FILE or @- (standard input). Several are joined by '&'. Sent as a form "
        "unless -H says otherwise.",
    ),
    _option("--data-json DATA", "As --data, for JSON, which is checked."),
    _option(
        "--data-urlencode DATA...",
        "As --data, percent-encoded: TEXT, NAME=TEXT, @FILE or NAME@FILE.",
    ),
    _option("-G, --get", "Add the data to the URL's query, and send GET."),
    _option(
        "-F, --form PART...",
        "A part of a multipart form: NAME=VALUE, NAME=@FILE or NAME=<FILE.",
    ),
    _option(
        "-T, --upload-file FILE",
        "Send a file by PUT, with a progress bar; - is standard input.",
    ),
    _option("-A, --user-agent NAME", "The User-Agent; '' for none."),
    _option("-b, --cookie DATA...", "Cookies: 'a=1; b=2', or a file of them (Netscape format)."),
    _option("-c, --cookie-jar FILE", "Write all cookies there at the end."),
    _option(
        "-u, --user NAME[:PASSWORD]",
        "Basic authentication. The password is asked for if it is left out.",
    ),
    _option("--digest", "Digest authentication with what -u says."),
    _option("--bearer, --oauth2-bearer TOKEN", "Authorization: Bearer TOKEN."),
    _option("--compressed", "Ask for a compressed body, and decode it wherever it goes."),
]

CONNECTION = [
    _option("http1_1, --http1.1", "HTTP/1.1 only; the default."),
    _option("--http2", "HTTP/2 where an https server has it."),
    _option("--http2-prior-knowledge", "HTTP/2 only, also over http."),
    _option(
        "-x, --proxy URL",
        "http, https, socks5, socks5h, socks4 or socks4a. '' for none, whatever the environment "
        "says.",
    ),
    _option("--resolve HOST:PORT:ADDR...", "Where to find HOST:PORT."),
    _option("--unix-socket PATH", "Connect to a Unix socket."),
]

TLS = [
    _option("-k, --insecure", "Do not verify the server: anybody may answer then."),
    _option("--cacert FILE", "Trust these authorities: a PEM file or directory."),
    _option("-E, --cert FILE", "Client certificate, PEM."),
    _option("--key FILE", "Its key, if that is in a file of its own."),
]

LIMITS = [
    _option("-m, --max-time SECONDS", "For all of it.", type=_SECONDS),
    _option("--connect-timeout SECONDS", "For connecting. Default: 60.", type=_SECONDS),
    _option(
        "--retry N",
        "Try again up to N times, where that is safe: see docs/cli.rst.",
        type=click.IntRange(min=0),
        default=0,
    ),
    _option("-L, --follow, --location", "Follow up to 20 redirects."),
]

OUTPUT = [
    _option(
        "-o, --output FILE...",
        "Write the body there, with a progress bar; - is standard output, even for a binary body "
        "on a terminal. Several: one for each URL.",
    ),
    _option("-O, --remote-name", "Write to a file named as the end of the URL's path."),
    _option(
        "-C, --continue-at OFFSET",
        "-: get what is missing of the file of -o or -O. A number: leave out so many bytes.",
        callback=_check_offset,
    ),
    _option(
        "-w, --write-out FORMAT",
        "At the end write FORMAT with %{http_code}, %{time_total}...: see docs/cli.rst.",
    ),
    _option("-i, --include", "Show the response's head, too."),
    _option("-I, --head", "Ask for the head only (HEAD), and show it."),
    _option("-f, --fail", "From status 400 on: write no body, and return 22."),
    _option("-v, --verbose", "Say what is sent and received. Secrets are masked."),
    _option("--trace", "Say each event of the connection, with milliseconds."),
    _option("--timing", "Draw how long each phase took."),
    _option("--json", "In place of the body: one JSON object about the exchange."),
    _option("-s, --silent", "No progress bars, no notes."),
    click.Option(
        ["--color"],
        type=click.Choice([NEVER, AUTO, ALWAYS]),
        default=AUTO,
        help="auto: on a terminal, unless NO_COLOR is set. always: format the body, too.",
    ),
]

ABOUT = [
    _option(
        "-V, --version",
        "Show the version.",
        is_eager=True,
        expose_value=False,
        callback=_show_version,
    ),
]

SECTIONS = {
    "Request": REQUEST,
    "Connection": CONNECTION,
    "TLS": TLS,
    "Limits": LIMITS,
    "Output": OUTPUT,
    "About": ABOUT,
}


class Command(click.Command):
    """One that shows its options in sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        help_option = self.get_help_option(ctx)
        for name, options in SECTIONS.items():
            shown: list[click.Option] = list(options)
            if options is ABOUT and help_option is not None:
                shown.append(help_option)
            with formatter.section(name):
                records = [option.get_help_record(ctx) for option in shown]
                formatter.write_dl([record for record in records if record is not None])


def _main(urls: tuple[str, ...], color: str, silent: bool, **values: Any) -> NoReturn:
    context = click.get_current_context()
    from .run import run_all  # the pool and rich, which --help does not need
    from .sending import make_pool
    from .terminal import Terminal

    terminal = Terminal(color, silent)
    try:
        jobs = read_jobs(urls, values)
        cookies, pool = _cookies(values), make_pool(jobs[0])
    except Problem as problem:
        if problem.code is Exit.USAGE:
            raise click.UsageError(problem.text) from problem
        terminal.error(problem.text)
        context.exit(problem.code)
    with pool:
        context.exit(run_all(jobs, terminal, pool, cookies))


command = Command(
    "httpcore",
    params=[
        click.Argument(["urls"], metavar="URL [URL|ITEM]...", nargs=-1),
        *(option for options in SECTIONS.values() for option in options),
    ],
    callback=_main,
    help=SHORT,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    no_args_is_help=True,
)


def run_command(arguments: Sequence[str] | None) -> int:
    """Run the command and return its exit code."""
    try:
        code: int = command.main(arguments, prog_name="httpcore", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as exc:
        exc.show()
        return Exit.USAGE
    except click.ClickException as exc:
        click.echo(f"httpcore: {exc.format_message()} (see httpcore --help)", err=True)
        return exc.exit_code
    except (click.Abort, KeyboardInterrupt):  # outside of `run`: while a password is asked for, say
        return Exit.INTERRUPTED
    return code


def read_jobs(arguments: Sequence[str], values: Values) -> list[Options]:
    """Return what the texts of the command line mean, for each URL.

    Raises Problem where they mean nothing.
    """
    items = read_items(arguments)
    if not items.urls:
        raise usage("the URL is missing")
    _check_urls(items.urls, values)
    data = [read_data(text) for text in values["data"]]
    data += [url_encoded(text) for text in values["data_urlencode"]]
    query = list(items.query)
    if values["get"]:
        query += [each.decode("utf-8", "surrogateescape") for each in data]
        data = []
    given = _read_options(values, items, _read_body(values, data, items))
    if values["user"] is not None:
        given = replace(given, auth=read_auth(values["user"], _ask_password))
    jobs = []
    for text, output in zip_longest(items.urls, values["output"]):
        url, auth = read_url(text, query)
        output = file_name(url) if values["remote_name"] else output
        jobs.append(replace(given, url=url, auth=given.auth or auth, output=output))
    return jobs


def _read_options(values: Values, items: Items, body: Body | None) -> Options:
    """Return all but what depends on the URL."""
    headers, without = read_headers([*values["header"], *items.headers])
    if values["user_agent"]:
        headers.append((b"User-Agent", to_bytes(values["user_agent"])))
    elif values["user_agent"] is not None:
        without |= {b"user-agent"}
    spelled, _ = read_cookies(values["cookie"])
    headers += [(b"Cookie", each) for each in spelled]
    _check(values)
    proxy = values["proxy"]
    return Options(
        url=httpcore.URL("http://localhost/"),  # until each URL is read
        method=_method(values, body),
        headers=headers,
        without=without,
        bearer=None if values["bearer"] is None else to_bytes(values["bearer"]),
        body=body,
        http1=not values["http2_prior_knowledge"],
        http2=values["http2"] or values["http2_prior_knowledge"],
        proxy=read_proxy(proxy) if proxy else None,
        environment_proxies=proxy is None,
        verify=False if values["insecure"] else values["cacert"] or True,
        cert=_cert(values["cert"], values["key"]),
        resolve=read_resolve(values["resolve"]),
        resume=values["continue_at"],
        include=values["include"] or values["head"],
        **{name: values[name] for name in AS_THEY_ARE},
    )


def _method(values: Values, body: Body | None) -> str:
    if values["method"]:
        return str(values["method"])
    if values["head"]:
        return "HEAD"
    if values["upload_file"]:
        return "PUT"
    return "POST" if body else "GET"


def _read_body(values: Values, data: list[bytes], items: Items) -> Body | None:
    """Return the body, of at most one kind."""
    upload = values["upload_file"]
    kinds = {
        "--data": data,
        "--data-json": values["data_json"] is not None,
        "--form": values["form"],
        "--upload-file": upload,
        "name=value": items.members,
    }
    given = [name for name, value in kinds.items() if value]
    if len(given) > 1:
        raise usage(f"{' and '.join(given)} exclude each other")
    if not given:
        return None
    if upload:
        return Body(path=upload)
    if values["form"]:
        return multipart(values["form"])
    if items.members:
        return json_body(items.members)
    if data:
        return Body(b"&".join(data), content_type=FORM)
    return read_json(values["data_json"])


def _cookies(values: Values) -> Cookies | None:
    """Return the jar, where one is asked for."""
    _, source = read_cookies(values["cookie"])
    if source is None and values["cookie_jar"] is None:
        return None
    from .cookies import Cookies

    return Cookies(source, values["cookie_jar"])


# Options whose values need no reading.
AS_THEY_ARE = (
    *("unix_socket", "max_time", "connect_timeout", "retry", "follow", "fail"),
    *("compressed", "verbose", "trace", "timing", "json", "head", "digest", "write_out"),
)

# Pairs of options of which one makes the other pointless; told rather than ignored.
EXCLUSIVE = (
    ("http1_1", "http2"),
    ("http1_1", "http2_prior_knowledge"),
    ("http2", "http2_prior_knowledge"),
    ("insecure", "cacert"),
    ("proxy", "unix_socket"),
    ("resolve", "unix_socket"),
    ("json", "include"),
    ("output", "remote_name"),
    ("bearer", "user"),
    ("continue_at", "compressed"),
    ("head", "continue_at"),
)


def _check(values: Values) -> None:
    for one, other in EXCLUSIVE:
        if values[one] and values[other]:
            raise usage(f"{_spelled(one)} and {_spelled(other)} exclude each other")
    if values["digest"] and values["bearer"]:
        raise usage("--digest and --bearer exclude each other")
    if values["write_out"] is not None:
        from .writeout import check

        check(values["write_out"])
    files = values["remote_name"] or (values["output"] and STDOUT not in values["output"])
    if values["continue_at"] == FROM_SIZE and not files:
        raise usage("-C - needs the file: -O or -o FILE")
    if values["json"] and STDOUT in values["output"]:
        raise usage("--json and --output - exclude each other: both are for standard output")


def _spelled(name: str) -> str:
    return "--http1.1" if name == "http1_1" else "--" + name.replace("_", "-")


def _check_urls(urls: Sequence[str], values: Values) -> None:
    files = values["output"]
    if len(files) > len(urls):
        raise usage(f"-o is given {len(files)} times, and there are fewer URLs ({len(urls)})")
    if len(urls) == 1:
        return
    if values["json"] and any(text.lstrip().startswith(("{", "[")) for text in urls):
        raise usage("--json takes no value: it prints a report; --data-json sends JSON")
    if len(files) < len(urls) and set(files) - {STDOUT}:
        raise usage("-o is one file for several URLs; give one -o for each, or -O")
    if values["upload_file"] == STDIN:
        raise usage("standard input is sent to one URL only")


def _cert(cert: str | None, key: str | None) -> str | tuple[str, str] | None:
    if key is None:
        return cert
    if cert is None:
        raise usage("--key needs --cert")
    return cert, key


def _ask_password(user: str) -> str:
    if not _has_keyboard():
        raise usage("--user has no password, and there is no terminal to ask for one")
    asked = f"Password for {user}"
    return str(click.prompt(asked, hide_input=True, default="", show_default=False, err=True))


def _has_keyboard() -> bool:
    return sys.stdin.isatty()
