#!/bin/bash
# A sweep on a cluster, from a login node: sweep_slurm.sh PLAN.ini FOLDER
# FOLDER lies on a file system that all nodes see. Whole nodes are asked for, at most eight at a time; options for sbatch are passed
# on one by one.
set -euo pipefail
plan=$1
folder=$2
anemo sweep "$plan" --dry-run
anemo sweep "$plan" --slurm --out "$folder" --array-limit 8 --slurm-options --time=02:00:00
echo "how far it is: anemo sweep '$plan' --status --out '$folder'"
echo "at the end:    anemo results merge '$folder'/*.json"
