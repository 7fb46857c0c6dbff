/* version.h: the project's version for messages; Meson passes it in. */
#ifndef SERVER_VERSION_H
#define SERVER_VERSION_H

#ifndef BULKHEAD_VERSION
#error "Meson defines BULKHEAD_VERSION"
#endif

#endif
