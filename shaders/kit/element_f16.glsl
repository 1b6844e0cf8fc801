// kit/element.glsl for shaders that compute with float16 anyway: elements are float16.
#ifndef RAPT_KIT_ELEMENT_GLSL
#define RAPT_KIT_ELEMENT_GLSL

#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_EXT_shader_16bit_storage : require

#define STORED        float16_t
#define LOAD(element) float(element)
#define STORE(value)  float16_t(value)

#endif
