"""The options of the command, by click.

Owns: their names, their help, and which exclude each other. Must not know: what is done with them;
`reading` says what their texts mean, `run` does it.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Sequence
from typing import Any

import click

import httpcore

from . import reading
from .exits import Exit, Problem, explain, stdout_failed, usage
from .reading import FORM, FROM_SIZE, STDIN, STDOUT, Body, Options

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

# In sections: names, a value in capitals where there is one ("..." where there may be several), and
# after two blanks the help.
OPTIONS = """
Request
-X, --method, --request METHOD  Default: GET; with a body POST.
-H, --header LINE...  'Name: value', 'Name;' for an empty value, 'Name:' to leave one out.
    Repeatable.
-d, --data DATA...  A body: text, @FILE or @- (standard input). Several are joined by '&'. Sent as a
    form unless -H says otherwise.
--data-json DATA  As --data, for JSON, which is checked.
--data-urlencode DATA...  As --data, percent-encoded: TEXT, NAME=TEXT, @FILE or NAME@FILE.
-G, --get  Add the data to the URL's query, and send GET.
-F, --form PART...  A part of a multipart form: NAME=VALUE, NAME=@FILE or NAME=<FILE.
-T, --upload-file FILE  Send a file by PUT, with a progress bar; - is standard input. A URL that
    ends with / gets the file's name.
-A, --user-agent NAME  The User-Agent; '' for none.
-b, --cookie DATA...  Cookies: 'a=1; b=2', or a file of them (Netscape format); '' for none yet.
-c, --cookie-jar FILE  Write all cookies there at the end.
-u, --user NAME[:PASSWORD]  Basic authentication. The password is asked for if it is left out.
--digest  Digest authentication with what -u says.
--bearer, --oauth2-bearer TOKEN  Authorization: Bearer TOKEN.
--compressed  Ask for a compressed body, and decode it wherever it goes.
Connection
--http1.1  HTTP/1.1 only; the default.
--http2  HTTP/2 where an https server has it.
--http2-prior-knowledge  HTTP/2 only, also over http.
-x, --proxy URL  http, https, socks5, socks5h, socks4 or socks4a. '' for none, whatever the
    environment says.
--resolve HOST:PORT:ADDR...  Where to find HOST:PORT.
--unix-socket PATH  Connect to a Unix socket.
TLS
-k, --insecure  Do not verify the server: anybody may answer then.
--cacert FILE  Trust these authorities: a PEM file or directory.
-E, --cert FILE  Client certificate, PEM.
--key FILE  Its key, if that is in a file of its own.
Limits
-m, --max-time SECONDS  For all of it.
--connect-timeout SECONDS  For connecting. Default: 60.
--retry N  Try again up to N times, where that is safe: see docs/cli.rst.
-L, --follow, --location  Follow up to 20 redirects.
Output
-o, --output FILE...  Write the body there, with a progress bar; - is standard output, even for a
    binary body on a terminal. Several: one for each URL.
-O, --remote-name  Write to a file named as the end of the URL's path.
-C, --continue-at OFFSET  -: get what is missing of the file of -o or -O. A number: leave out so
    many bytes.
-w, --write-out FORMAT  At the end write FORMAT with %{http_code}, %{time_total}...: see
    docs/cli.rst.
-i, --include  Show the response's head, too.
-I, --head  Ask for the head only (HEAD), and show it.
-f, --fail  From status 400 on: write no body, and return 22.
-v, --verbose  Say what is sent and received. Secrets are masked.
--trace  Say each event of the connection, with milliseconds.
--timing  Draw how long each phase took.
--json  In place of the body: one JSON object about the exchange.
-s, --silent  No progress bars, no notes; errors all the same.
-S, --show-error  As without: errors are always said.
--color [never|auto|always]  auto: on a terminal, unless NO_COLOR is set. always: format the body,
    too.
"""


# What click is to know of some of them beyond that, by name.
_SECONDS = {"type": click.FloatRange(min=0, min_open=True)}
MORE: dict[str, dict[str, Any]] = {
    "max_time": _SECONDS,
    "connect_timeout": _SECONDS,
    "retry": {"type": click.IntRange(min=0), "default": 0},
    "color": {"type": click.Choice(["never", "auto", "always"]), "default": "auto"},
}

# Options of which one makes the others pointless: an error rather than ignored.
EXCLUSIVE = (
    "--http1.1 --http2 --http2-prior-knowledge",
    "--insecure --cacert",
    "--proxy --unix-socket",
    "--resolve --unix-socket",
    "--json --include",
    "--output --remote-name",
    "--bearer --user",
    "--bearer --digest",
    "--continue-at --compressed",
    "--continue-at --head",
)


# How JSON begins, and no URL: "[" does, too, before an address of IPv6.
_JSON = re.compile(r"\s*(?:\{|\[(?![0-9A-Fa-f]*:))")


def _named(spelled: str) -> str:
    """Return an option's name for click: ``--http1.1`` is ``http1_1``."""
    return re.sub(r"\W", "_", spelled.lstrip("-"))


def _read_sections(text: str) -> dict[str, list[click.Parameter]]:
    sections: dict[str, list[click.Parameter]] = {}
    for row in text.replace("\n    ", " ").strip().splitlines():
        spelled, _, help = row.partition("  ")
        if not help:
            options = sections[row] = []
            continue
        names = re.findall(r"(?<!\S)--?[^\s,]+", spelled)
        name = _named(next(each for each in names if each.startswith("--")))
        metavar = spelled.rpartition(names[-1])[2].strip()
        more: dict[str, Any] = {"is_flag": True}
        if metavar:
            several = metavar.endswith("...")
            more = {"metavar": metavar.removesuffix("..."), "multiple": several}
        options.append(click.Option([name, *names], help=help, **more, **MORE.get(name, {})))
    return sections


SECTIONS = _read_sections(OPTIONS)


class Command(click.Command):
    """One that shows its options in sections."""

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        """Read the arguments; ``--help`` and ``--version`` are answered here."""
        try:
            return super().make_context(*args, **more)
        except OSError as exc:
            problem = stdout_failed(exc)
            if problem.text:
                click.echo(f"httpcore: {problem.text}", err=True)
            raise click.exceptions.Exit(problem.code) from exc

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        known = list(itertools.chain(*SECTIONS.values()))
        others = [each for each in self.get_params(ctx)[1:] if each not in known]
        for name, options in {**SECTIONS, "About": others}.items():
            with formatter.section(name):
                records = [option.get_help_record(ctx) for option in options]
                formatter.write_dl([record for record in records if record is not None])


@click.command(
    cls=Command,
    help=SHORT,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)
@click.argument("urls", metavar="URL [URL|ITEM]...", nargs=-1)
@click.version_option(
    httpcore.__version__,
    *("-V", "--version"),
    message="httpcore %(version)s",
    help="Show the version.",
)
def command(urls: tuple[str, ...], **values: Any) -> Exit:
    from .output import Terminal  # rich and the pool, which --help does not need
    from .run import run_all

    terminal = Terminal(values["color"], values["silent"])
    try:
        return run_all(read_jobs(urls, values), terminal)
    except (Problem, OSError) as exc:
        return terminal.error(explain(exc))


command.params += itertools.chain(*SECTIONS.values())


def run_command(arguments: Sequence[str] | None) -> int:
    """Run the command and return its exit code."""
    try:
        code: int = command.main(arguments, prog_name="httpcore", standalone_mode=False)
    except click.ClickException as exc:
        click.echo(f"httpcore: {exc.format_message()} (see httpcore --help)", err=True)
        return exc.exit_code
    except (click.Abort, KeyboardInterrupt):  # outside of `run`: while a password is asked for, say
        return Exit.INTERRUPTED
    return code


def read_jobs(arguments: Sequence[str], values: dict[str, Any]) -> list[Options]:
    """Return the options for each URL, with what their texts mean.

    Raises Problem where they mean nothing, and OSError for a file that cannot be read.
    """
    items, given = reading.read_items(arguments), Options(**values)
    _check(items.urls, given)
    _read_request(given, items)
    _read_connection(given)
    auth = None if given.user is None else _read_user(given.user)
    jobs = []
    for text, output in itertools.zip_longest(items.urls, given.output):
        job = Options(**vars(given))
        job.url, inside = reading.read_url(text, items.query)
        job.url = reading.with_file_name(job.url, job.upload_file)
        job.auth = auth or inside
        if job.auth and job.digest:
            reading.check_digest(job.auth)
        job.output = reading.file_name(job.url) if job.remote_name else output
        job.offset = reading.read_offset(job.continue_at, job.output)
        jobs.append(job)
    return jobs


def _read_request(given: Options, items: Options) -> None:
    """Read the body, the method, the header fields and the cookies."""
    data = [*map(reading.read_data, given.data), *map(reading.url_encoded, given.data_urlencode)]
    if given.get:
        items.query += [each.decode("utf-8", "surrogateescape") for each in data]
        data = []
    bodies = {
        "--data": Body([b"&".join(data)], FORM) if data else None,
        "--data-json": None if given.data_json is None else reading.read_json(given.data_json),
        "--form": reading.multipart(given.form) if given.form else None,
        "--upload-file": Body([given.upload_file]) if given.upload_file else None,
        "name=value": items.body,
    }
    _exclude([name for name, body in bodies.items() if body])
    given.body = next(filter(None, bodies.values()), None)
    by_default = "PUT" if given.upload_file else "POST" if given.body else "GET"
    given.method = given.method or ("HEAD" if given.head else by_default)
    given.header = [*given.header, *items.headers]
    given.header += [] if given.user_agent is None else [f"User-Agent: {given.user_agent}"]
    given.header += [f"Cookie: {text}" for text in given.cookie if "=" in text]
    given.include = given.include or given.head
    given.cookie_files = [text for text in given.cookie if "=" not in text]


def _read_connection(given: Options) -> None:
    """Read what says how to connect, and check what -w says."""
    given.http1 = not given.http2_prior_knowledge
    given.http2 = given.http2 or given.http2_prior_knowledge
    given.proxy = given.proxy and reading.read_proxy(given.proxy)  # '' for none, None: to be found
    given.resolve = reading.read_resolve(given.resolve)
    given.verify = False if given.insecure else given.cacert or True
    given.cert = (given.cert, given.key) if given.key else given.cert
    if given.write_out is not None:
        from .report import Facts, filled

        filled(given.write_out, Facts(Options(url="", method="", output=None)))  # raises early


def _check(urls: Sequence[str], given: Options) -> None:
    """Raise Problem for what cannot be asked for together."""
    for group in EXCLUSIVE:
        _exclude([name for name in group.split() if getattr(given, _named(name))])
    files, several = given.output, len(urls) > 1
    to_stdout = STDOUT in files if files else not given.remote_name
    lacks_files = len(files) < len(urls) and set(files) - {STDOUT}
    has_value = given.json and any(map(_JSON.match, urls))  # as for curl
    wrong = {
        "the URL is missing (see httpcore --help)": not urls,
        "--key needs --cert": given.key and not given.cert,
        "-C - needs the file: -O or -o FILE": given.continue_at == FROM_SIZE and to_stdout,
        "--json and -o - are both for standard output": given.json and STDOUT in files,
        "--json prints a report and takes no value; --data-json sends JSON": has_value,
        "-o is given more often than there are URLs": len(files) > len(urls),
        "-o is one file for several URLs; give one -o for each, or -O": lacks_files,
        "standard input is sent to one URL only": several and given.upload_file == STDIN,
        "--cookie-jar needs a file; for standard output, /dev/stdout": given.cookie_jar == STDOUT,
    }
    for text, holds in wrong.items():
        if holds:
            raise usage(text)


def _exclude(names: Sequence[str]) -> None:
    if len(names) > 1:
        raise usage(f"{' and '.join(names)} exclude each other")


def _read_user(text: str) -> reading.Auth:
    """Read ``user:password``; without a colon, the password is asked for."""
    user, colon, password = text.partition(":")
    if not colon:
        if not sys.stdin.isatty():
            raise usage("--user has no password, and there is no terminal to ask for one")
        asked = f"Password for {user}"
        password = click.prompt(asked, hide_input=True, default="", show_default=False, err=True)
    return reading.to_bytes(user), reading.to_bytes(password)
