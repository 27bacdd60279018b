/* Version of libharken. CMake and setup.py read it from here. */
#ifndef HARKEN_VERSION_H
#define HARKEN_VERSION_H

#define HARKEN_VERSION_MAJOR 0
#define HARKEN_VERSION_MINOR 1
#define HARKEN_VERSION_PATCH 0

/* Rises when a program built against an older harken.h would no longer run with this library. */
#define HARKEN_ABI_VERSION 1

#define HARKEN_VERSION (HARKEN_VERSION_MAJOR << 16 | HARKEN_VERSION_MINOR << 8 | HARKEN_VERSION_PATCH)

#endif
