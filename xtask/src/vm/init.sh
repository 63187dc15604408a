#!/busybox sh
# The first process of the machine: makes the host's file system its own, writable and forgotten afterwards, and hands over
# to systemd, which runs the one service that there is.
bb=/busybox
$bb mkdir -p /proc /sys /dev /host /scratch /root
$bb mount -t proc proc /proc
$bb mount -t sysfs sysfs /sys
$bb mount -t devtmpfs devtmpfs /dev
for module in virtio_pci virtio_blk 9pnet_virtio 9p overlay crc32c_generic ext4 quota_v2; do
    $bb modprobe $module || echo "no module $module"
done
ninep=trans=virtio,version=9p2000.L,msize=500000
$bb mount -t 9p -o $ninep,cache=loose,ro host /host
$bb mount -t ext4 -o prjquota /dev/vda /scratch
$bb mkdir /scratch/upper /scratch/work /scratch/tmp
$bb chmod 1777 /scratch/tmp
$bb mount -t overlay -o lowerdir=/host,upperdir=/scratch/upper,workdir=/scratch/work host /root

$bb mount -t tmpfs -o mode=755 run /root/run
$bb mkdir -p /root/run/vm /root/run/scratch /root/run/systemd/system
$bb mount -t 9p -o $ninep share /root/run/vm
$bb mount --move /scratch /root/run/scratch
# Other layers of a mount can lie on a disk, but not on an overlay.
for directory in tmp var/tmp; do
    $bb mount --bind /root/run/scratch/tmp /root/$directory
done

# Nothing of the host's own configuration is started, and no container is found where the host is one.
cd /root
$bb rm -rf etc/systemd/system etc/systemd/user lib/systemd/system/*.wants .dockerenv etc/fstab
echo 'tester:x:61234:61234::/tmp:/bin/sh' >> etc/passwd
echo 'tester:x:61234:' >> etc/group
echo 'tester:*:19000:0:99999:7:::' >> etc/shadow
$bb cat > run/systemd/system/vm.service << UNIT
[Unit]
Wants=dbus.service systemd-logind.service
After=dbus.service systemd-logind.service
FailureAction=poweroff-force
SuccessAction=poweroff-force
[Service]
Type=oneshot
StandardOutput=append:/run/vm/output
StandardError=inherit
ExecStart=/bin/sh /run/vm/command
ExecStopPost=/bin/sh -c 'echo \$EXIT_STATUS > /run/vm/status'
UNIT
printf '[Unit]\nRequires=vm.service\n' > run/systemd/system/vm.target

$bb mount --move /dev dev
$bb umount /proc /sys
: > run/vm/alive
exec $bb switch_root . /lib/systemd/systemd --unit=vm.target
