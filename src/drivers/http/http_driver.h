/*
 * The http driver: any OpenAI-compatible server by URL. It times its own side only and says what it cannot know.
 */
#ifndef AN_DRIVERS_HTTP_HTTP_DRIVER_H
#define AN_DRIVERS_HTTP_HTTP_DRIVER_H

/* Serve the driver protocol on stdin and stdout for the server at `url`. Returns the process's exit status. */
int an_http_driver_main(const char *url);

#endif
