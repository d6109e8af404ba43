"""A task that does nothing, to time what RQ itself costs."""


def do_nothing():
    return None
