#!/bin/sh
# The reports of all runs in a directory as a site: site.sh RUNS SITE. A report is one file that loads nothing.
set -eu
runs=$1 site=$2
mkdir -p "$site"
{
  printf '<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>absence</title>\n<h1>Runs</h1>\n<ul>\n'
  for report in "$runs"/*/report.html; do
    [ -f "$report" ] || continue
    name=$(basename "$(dirname "$report")")
    cp "$report" "$site/$name.html"
    printf '<li><a href="%s.html">%s</a></li>\n' "$name" "$name"
  done
  printf '</ul>\n</html>\n'
} > "$site/index.html"
