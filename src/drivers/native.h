/* The native driver: our own engine behind the protocol, in a re-executed anemo. */
#ifndef AN_DRIVERS_NATIVE_H
#define AN_DRIVERS_NATIVE_H

/* Serve the driver protocol on stdin and stdout. Returns the process's exit status. */
int an_native_driver_main(void);

#endif
