# Runs the tests of limits in every place of the control groups in which ptest may be started: INIT, SUITE and LIBRARY are
# the programs, PTEST_TEST_REQUIRE is what a place must have. What else depends on the kernel's age is tested there too.
set -u
programs=/run/scratch/programs
mkdir $programs
cp "$SUITE" $programs/suite
cp "$INIT" $programs/ptest-init
cp "$LIBRARY" $programs/library
failed=0
program=suite

# place NAME REQUIREMENTS COMMAND... -- TESTS...
place() {
    name=$1 require=$2 command=
    shift 2
    while [ "$1" != -- ]; do
        command="$command $1"
        shift
    done
    shift
    echo "in $name:"
    $command env PTEST_TEST_REQUIRE="$require" PTEST_TEST_INIT=$programs/ptest-init \
        $programs/$program --test-threads=2 "$@" > $programs/output 2>&1 < /dev/null || failed=1
    # Which place it was belongs to a test's name.
    sed "/^test result/!s/^test /test in $name: /" $programs/output
}

as_root() {
    echo $$ > /sys/fs/cgroup/cgroup.procs
    "$@"
}

unit="systemd-run --quiet --wait --pipe --collect"
user="setpriv --reuid tester --regid tester --clear-groups"
held="limits::more_processes limits::too_much_memory limits::files_in_memory limits::when_memory limits::processors
    limits::a_limit_that limits::usage_counts"

cd /
systemctl start user@61234
export XDG_RUNTIME_DIR=/run/user/61234
place "a service of root" cgroup,cgroup-v2,root,userns,overlay,quota $unit -- groups:: stacks:: quota:: $held
place "a delegated scope of root" cgroup,cgroup-v2,root systemd-run --quiet --scope -p Delegate=yes -- groups::
place "a service of a user" no-cgroup,no-quota,userns,overlay $unit -p User=tester -- groups:: stacks:: quota::where $held
place "a delegated scope of a user" cgroup,userns $user systemd-run --quiet --user --scope -p Delegate=yes -- groups:: $held
place "a service of the user's own systemd" cgroup,userns $user $unit --user -- groups::
place "the root" cgroup,cgroup-v2,root,userns as_root -- groups::
# These find no quotas elsewhere and are run by name.
program=library
place "a service of root, with the library" root,userns,overlay $unit -- --ignored quota::
exit $failed
