#!/bin/sh
# Full schedules on a machine that is at hand for minutes at a time.
#
#     FROM=before TO=after MINUTES=9 DATA=DIR sh experiments/stretch.sh aevb_figure2 deep_autoencoder
#
# Copies the run folders in FROM (none the first time) to TO, and there trains each result to the end of its
# paper's schedule. After MINUTES it is ended: what it has is saved in TO, and the same with FROM=after goes on.
# Exit code: 0 once all are finished, 124 before.
set -eu
: "${TO:=runs/reproduce}" "${MINUTES:=9}"
mkdir -p "$TO"
if [ -n "${FROM:-}" ] && [ -d "$FROM" ]; then cp -R "$FROM/." "$TO/"; fi
end=$(($(date +%s) + MINUTES * 60))
for result in "$@"; do
    left=$((end - $(date +%s)))
    if [ "$left" -le 0 ]; then exit 124; fi
    timeout -s TERM "$left" python -m experiments.reproduce --result="$result" \
        --budget=inf --workdir="$TO" ${DATA:+--data_dir="$DATA"}
done
