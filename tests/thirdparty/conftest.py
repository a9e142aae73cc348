"""Projects are imported by the tests, where they are installed, and by nothing that looks for doctests."""

collect_ignore_glob = ["projects/*"]
