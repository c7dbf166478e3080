// A libvk_swiftshader.so for Chromium that is really another Vulkan driver, the one named by $ICD_SO.
//
// Without a display Chromium's WebGPU takes a Vulkan adapter only when it is SwiftShader, which it knows by
// vendor, device and type. So this library loads the driver, passes every call on, and answers that one question
// itself. The page then still reads "google swiftshader": features and subgroup sizes tell what it is.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define API __attribute__((visibility("default")))

typedef void (*Function)(void);
typedef Function (*Lookup)(void *instance, const char *name);
typedef void (*GetProperties)(void *device, void *properties);
typedef int32_t (*Negotiate)(uint32_t *version);

enum { GOOGLE = 0x1AE0, SWIFTSHADER = 0xC0DE, TYPE_CPU = 4, HIGHEST_INTERFACE = 3 };

static Lookup driver_lookup, driver_device_lookup;
static Negotiate driver_negotiate;
static GetProperties driver_properties, driver_properties2;

static int load_driver(void) {
  if (driver_lookup) return 1;
  const char *path = getenv("ICD_SO");
  if (!path) path = "/usr/lib/x86_64-linux-gnu/libvulkan_lvp.so";
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    fprintf(stderr, "vulkan_as_swiftshader: %s\n", dlerror());
    return 0;
  }
  driver_negotiate = (Negotiate)dlsym(library, "vk_icdNegotiateLoaderICDInterfaceVersion");
  driver_device_lookup = (Lookup)dlsym(library, "vk_icdGetPhysicalDeviceProcAddr");
  driver_lookup = (Lookup)dlsym(library, "vk_icdGetInstanceProcAddr");
  if (!driver_lookup) {
    fprintf(stderr, "vulkan_as_swiftshader: %s has no vk_icdGetInstanceProcAddr\n", path);
    return 0;
  }
  if (driver_negotiate) {
    uint32_t version = 5;
    driver_negotiate(&version);
  }
  return 1;
}

// VkPhysicalDeviceProperties begins: apiVersion, driverVersion, vendorID, deviceID, deviceType.
static void disguise(uint32_t *properties) {
  properties[2] = GOOGLE;
  properties[3] = SWIFTSHADER;
  properties[4] = TYPE_CPU;
}

static void disguised_properties(void *device, void *properties) {
  driver_properties(device, properties);
  disguise(properties);
}

static void disguised_properties2(void *device, void *properties) {
  driver_properties2(device, properties);
  disguise((uint32_t *)((char *)properties + 16));  // after sType and pNext
}

API Function vk_icdGetInstanceProcAddr(void *instance, const char *name) {
  if (!load_driver()) return NULL;
  if (!strcmp(name, "vkGetInstanceProcAddr")) return (Function)vk_icdGetInstanceProcAddr;
  Function found = driver_lookup(instance, name);
  if (found && !strcmp(name, "vkGetPhysicalDeviceProperties")) {
    driver_properties = (GetProperties)found;
    return (Function)disguised_properties;
  }
  if (found && (!strcmp(name, "vkGetPhysicalDeviceProperties2") || !strcmp(name, "vkGetPhysicalDeviceProperties2KHR"))) {
    driver_properties2 = (GetProperties)found;
    return (Function)disguised_properties2;
  }
  return found;
}

API Function vkGetInstanceProcAddr(void *instance, const char *name) { return vk_icdGetInstanceProcAddr(instance, name); }

API Function vk_icdGetPhysicalDeviceProcAddr(void *instance, const char *name) {
  return load_driver() && driver_device_lookup ? driver_device_lookup(instance, name) : NULL;
}

API int32_t vk_icdNegotiateLoaderICDInterfaceVersion(uint32_t *version) {
  if (!load_driver() || !driver_negotiate) return -3;  // VK_ERROR_INITIALIZATION_FAILED
  if (*version > HIGHEST_INTERFACE) *version = HIGHEST_INTERFACE;
  return driver_negotiate(version);
}
