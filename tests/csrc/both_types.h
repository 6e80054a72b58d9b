/* Includes TEMPLATE for float and for double: R is the type, S(name) the name with its suffix. */
#include "check.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define R float
#define S(name) name##_f32
#define TABLE fnn_table_f32
#define EPSILON ((double)FLT_EPSILON)
#include "arrays_tpl.h"
#include TEMPLATE
#undef R
#undef S
#undef TABLE
#undef EPSILON

#define R double
#define S(name) name##_f64
#define TABLE fnn_table_f64
#define EPSILON DBL_EPSILON
#include "arrays_tpl.h"
#include TEMPLATE
