#!/bin/bash
# One director, all four methods, both families, in one configuration.
. "$(dirname "$0")/../lab.sh"

lab_up
lab_config all all
director_start
for m in fullnat nat dr tunnel; do for f in 4 6; do answers $m $f; done; done
for m in fullnat nat dr tunnel; do for f in 4 6; do
    mark_logs
    answers $m $f
    sees $m $f "$(pattern_seen $m $f)"
done; done
