# page.sh: a USB camera that the technician's page can set up, until whoever started this has seen enough.
. /host/lib.sh
broker start
listen
configure MJPG 15
printf '%s\n' token-of-the-lab-alone >token
chmod 600 token
printf '%s\n' 'console: {listen: "0.0.0.0:8470", insecure: true, token_file: /run/token}' >>livenessd.yaml
plug live
start_daemon
await 120 "a streaming camera" state streaming
await 500 "an end" test -e /run/end
