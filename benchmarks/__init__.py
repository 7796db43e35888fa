"""How fast this package is, beside the clients it would replace.

`python -m benchmarks` starts one server process and one worker process for each client, and
lets the clients take turns, round by round, so that whatever else the machine does falls on
all of them alike. The rooms:

- `cases`: what is measured, and what must be reached; tables only.
- `servers`: nginx where it is installed, else `embedded_server`; `link`, which stands before it
  for the cases with delay; files and certificates.
- `gateways`: the contestants of the cases of gateways; `load`, the load generator (wrk or oha) that
  stands before them; `slow_peers`, a slow client and a slow server, for their memory checks.
- `processes`: the worker processes, and the environments of their own that they run in.
- `runner`: rounds, medians and ratios.
- `report`: the printed table and the JSON document; `plot`: the pictures.
- `worker/`: the program that runs in a worker process. It is started by its path and imports
  nothing from here, because the worker of httpcore 1.0.9 must not find our `httpcore`.

The cases of HTTP/2 need nginx: the embedded server does not speak it, and they are left out.
Those of gateways need wrk or oha.
"""
