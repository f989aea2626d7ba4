#!/bin/sh
# Trains whole schedules on machines that are at hand for minutes at a time and keep nothing.
#
#     TO=after MINUTES=9 DATA=DIR sh experiments/stretch.sh aevb_figure2
#     FROM=before TO=after MINUTES=9 DATA=DIR sh experiments/stretch.sh aevb_figure2
#
# Trains each result to the end of its schedule, or for BUDGET minutes in all, under runs/reproduce. One whose
# schedule ends has SHARE in place of BUDGET, and its POINTS:
#
#     TO=after DATA=DIR SHARE=1 POINTS=vae_1,iwae_5 sh experiments/stretch.sh iwae_table1
#
# After MINUTES training is stopped, which saves it, and the runs are packed, with the newest checkpoint of each
# group, into files of at most PIECE: TO/runs.tar.aa and so on. The next call unpacks them from FROM and resumes.
# Exit code: 0 once all are finished, 124 before that, else that of the command.
set -eu
: "${TO:?set it to the folder for the packed runs}" "${MINUTES:=9}" "${BUDGET:=inf}" "${PIECE:=15m}"
runs=runs/reproduce
mkdir -p "$TO" "$runs"
if [ -n "${FROM:-}" ]; then cat "$FROM"/runs.tar.* | tar -xf - -C "$runs"; fi

pack() {
    old=$(cd "$runs" && for group in */*/checkpoints/*; do
        if [ -d "$group" ]; then
            ls "$group" | grep -x '[0-9-]*' | sort -V | sed -e '$d' -e "s|^|$group/|"
        fi
    done)
    rm -rf "$TO/new"
    mkdir "$TO/new"
    echo "$old" | tar -cf - -C "$runs" --exclude-from=- . | split -b "$PIECE" - "$TO/new/runs.tar."
    cat "$TO"/new/runs.tar.* | tar -tf - > /dev/null  # fails unless all of it is there
    rm -f "$TO"/runs.tar.*
    mv "$TO"/new/runs.tar.* "$TO"
    rmdir "$TO/new"
}
trap pack EXIT

how="${SHARE:+--share=$SHARE}${POINTS:+ --points=$POINTS}"
: "${how:=--budget=$BUDGET}"
end=$(($(date +%s) + MINUTES * 60))
for result in "$@"; do
    left=$((end - $(date +%s)))
    if [ "$left" -le 0 ]; then exit 124; fi
    # shellcheck disable=SC2086  # of two flags at most
    timeout -s TERM "$left" python -m experiments.reproduce --result="$result" \
        $how ${DATA:+--data_dir="$DATA"}
done
