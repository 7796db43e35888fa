"""Random faults: a server and proxies that misbehave, and the load that has to survive them.

Owns: that. ``scripts/soak`` runs it for as long as wanted; test_chaos.py is its short form.
"""
